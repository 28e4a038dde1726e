#!/bin/sh
# Create random secrets for docker-compose.yml next to this script, or in the folder given. Existing files are kept.
set -eu
umask 077

folder=${1:-$(dirname "$0")}
mkdir -p "$folder"
chmod 700 "$folder"

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# The files are readable in the containers, whose users have other ids. The folder keeps other users of this machine out.
keep() {
    if [ ! -e "$folder/$1" ]; then
        printf '%s' "$2" >"$folder/$1.new"
        chmod 444 "$folder/$1.new"
        mv "$folder/$1.new" "$folder/$1"
        echo "created $1"
    fi
}

keep mlmon_secret_key "$(random)"
keep grafana_admin_password "$(random)"
keep postgres_password "$(random)"
keep redis_password "$(random)"

# The same passwords in the formats that the programs read.
keep database_url "postgres://mlmon:$(cat "$folder/postgres_password")@postgres:5432/mlmon"
keep redis_url "redis://:$(cat "$folder/redis_password")@redis:6379/0"
keep redis_conf "requirepass $(cat "$folder/redis_password")
"

# Only you know these; fill them in (deploy/secrets/README.md).
keep slack_api_url ""
keep smtp_password ""
