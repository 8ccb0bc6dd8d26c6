"""The secrets with which the tests' stack takes credits in. The search for canaries looks for them."""

OPERATOR_TOKEN = "OperatorToken0Of0The0Tests0Wy8Hb3Np6Rd1"
WEBHOOK_SECRET = "whsec_Test0Secret0Of0One0Endpoint0AtStripe"
OTHER_WEBHOOK_SECRET = "whsec_Test0Secret0That0Comes0After0The0First"

INGRESS_SETTINGS = {
    "OPERATOR_TOKEN": OPERATOR_TOKEN,
    "STRIPE_WEBHOOK_SECRET": f"{WEBHOOK_SECRET},{OTHER_WEBHOOK_SECRET}",
    "STRIPE_LIVE_MODE": "false",
}
