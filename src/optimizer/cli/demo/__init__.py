"""`demo`: the closed loop on a simulated application, through the public API of a real server."""
