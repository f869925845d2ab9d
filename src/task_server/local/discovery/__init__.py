"""Which servers a project's settings name, found by importing it in a process of its own."""
