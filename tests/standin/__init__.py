"""A DuckDuckGo and its image hosts on 127.0.0.1: real sockets, no internet."""
