from .server import plugin, DataFrame
