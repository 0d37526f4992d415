"""Write the page as static files: the model runs in the visitor's browser, and no server is needed."""
