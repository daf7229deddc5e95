"""Questions over HTTP and their answers.

pages (joins the rest to Faust's web server), guard (who may ask), routes (what can be asked), parameters, answers (the
shapes), windows from tables: questions and owners (which worker holds a host); from SQL: history; health; problems
(RFC 9457); openapi.
"""
