"""Servers that tasks of the benchmark wait for; each is a program of its own file."""

from pathlib import Path

HTTP_SERVER = Path(__file__).parent / "http_server.py"
DNS_SERVER = Path(__file__).parent / "dns_server.py"
