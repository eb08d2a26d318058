"""The HTTP interface: administration of credentials, their audit trail, and the OpenAI-compatible calls of tenants.

`app.create_app(services)` builds the application from parts that the composition root made; nothing here is global.
The way of a request: `envelope` (id, safe headers, log line, last resort) -> `guard` (authentication, role, feature
switch, body) -> routing -> one module a resource. Every refusal leaves through `problems`, the one table of numbers.
"""
