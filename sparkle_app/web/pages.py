"""stub"""


def middlewares(token):
    return []


def add_pages(app):
    pass
