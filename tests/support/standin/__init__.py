"""A stand-in for DuckDuckGo and image hosts on 127.0.0.1, with real sockets and without internet."""
