"""A Kubernetes cluster of one node, as processes of this machine."""
