# What an operator's short-lived token needs to rotate keys and retire their old versions. It opens,
# encrypts and rewraps nothing.
path "transit/keys/credentials" {
  capabilities = ["read"]
}

path "transit/keys/credentials/rotate" {
  capabilities = ["update"]
}

path "transit/keys/credentials/config" {
  capabilities       = ["update"]
  allowed_parameters = { "min_decryption_version" = [] }
}

path "transit/keys/intake" {
  capabilities = ["read"]
}

path "transit/keys/intake/rotate" {
  capabilities = ["update"]
}

path "transit/keys/intake/config" {
  capabilities       = ["update"]
  allowed_parameters = { "min_decryption_version" = [] }
}

# Vault rotates this one by itself, every day.
path "transit/keys/wire" {
  capabilities = ["read"]
}

path "transit/keys/wire/config" {
  capabilities       = ["update"]
  allowed_parameters = { "min_decryption_version" = [] }
}
