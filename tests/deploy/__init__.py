"""The containers: what can be known of them without starting one."""
