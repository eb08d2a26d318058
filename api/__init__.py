"""The HTTP interface: administration of credentials, their audit trail, and the OpenAI-compatible calls of tenants.

`app.create_app(services)` builds the application from parts that the composition root made; nothing here is global.
The way of a request: `envelope` (id, safe headers, log line, last resort) -> `guard` (authentication, role, feature
switch) -> `json_body` (the body, parsed once) -> routing -> `operation` -> one handler in one module a resource. Every
error leaves through `problems`, the one table of status codes.
"""
