"""HTML that the server renders, without scripts: the login page and the description of the API."""
