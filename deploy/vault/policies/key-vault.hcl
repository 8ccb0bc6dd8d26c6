# Opens what was pasted, once, to check its shape.
path "transit/decrypt/intake" {
  capabilities = ["update"]
}

# Keeps it; only the dispatcher opens it again.
path "transit/encrypt/credentials" {
  capabilities = ["update"]
}

# Brings a ciphertext to the newest version of its key without opening it.
path "transit/rewrap/credentials" {
  capabilities = ["update"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
