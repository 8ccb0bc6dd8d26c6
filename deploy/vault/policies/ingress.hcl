# Encrypts what a person pastes; opens nothing.
path "transit/encrypt/intake" {
  capabilities = ["update"]
}

# Data keys that seal prompts and completions on their way through Kafka.
path "transit/datakey/plaintext/wire" {
  capabilities = ["update"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
