curl -X PUT https://api.eneo.ai/api/v1/sysadmin/tenants/{tenant_id}/credentials/openai \
  -H "X-API-Key: $INTRIC_SUPER_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"api_key": "sk-proj-abc123..."}'
