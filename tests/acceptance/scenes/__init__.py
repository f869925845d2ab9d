"""What somebody on call sees of eight incidents: the status, the admin's pages, the alerts."""
