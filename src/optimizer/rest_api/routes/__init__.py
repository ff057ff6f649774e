"""One module for each group of routes; each adds itself to the application."""
