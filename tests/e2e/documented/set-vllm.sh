curl -X PUT https://api.eneo.ai/api/v1/sysadmin/tenants/{tenant_id}/credentials/vllm \
  -H "X-API-Key: $INTRIC_SUPER_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"api_key": "vllm-secret", "endpoint": "http://tenant-vllm:8000"}'
