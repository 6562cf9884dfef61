"""What `coverage` is made of: simulated units, and what the project claims of them."""
