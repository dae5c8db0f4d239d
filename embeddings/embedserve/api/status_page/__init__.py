"""The one static file of the status page; routes/status_page.py serves it."""
