"""The API for our user's backend: `/api/v1`, JSON, with an API token; docs/api.md tells it.

`operations.py` declares every call with its models, once; the routes and the OpenAPI document are
made from there. Wired by `Api(ApiParts(...))`, which `console.app.build` takes.
"""

from console.api.app import Api, ApiDoor, ApiParts

__all__ = ["Api", "ApiDoor", "ApiParts"]
