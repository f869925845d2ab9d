"""Child processes of one terminal: started in order, stopped in order."""
