"""What is asked for → a plan → jobs → outcomes, on this machine or on a cluster."""
