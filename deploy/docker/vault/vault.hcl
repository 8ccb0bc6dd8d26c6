# HashiCorp Vault for trying out. Production wants an auto-unseal seal (awskms, gcpckms, azurekeyvault,
# transit) here instead of the keys that the vault-init job keeps, and TLS on the listener.
storage "raft" {
  path    = "/vault/file"
  node_id = "compose"
}

listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}

api_addr      = "http://vault:8200"
cluster_addr  = "http://vault:8201"
disable_mlock = true # raft maps its file into memory; swap belongs switched off or encrypted
ui            = false
