"""What Vault must know: transit keys, AppRoles and one least-privilege policy a role."""
