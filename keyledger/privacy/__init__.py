"""Privacy: erases people and tenants, keeps erasures across restores, and reports what is kept about one person."""
