# Opens a credential to call a provider with it.
path "transit/decrypt/credentials" {
  capabilities = ["update"]
}

# Opens the data keys that ingress sealed requests with.
path "transit/decrypt/wire" {
  capabilities = ["update"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
