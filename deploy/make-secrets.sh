#!/bin/sh
# Write one random password a file into the folder given; files that exist are kept.
#
# The folder is closed to everybody but its owner (0700), which protects the files on this host. The files
# themselves are readable (0444), because containers that do not run as root, under ids of their own, get them
# mounted one by one and could not open a 0600 file of the host's user.
set -eu
folder=${1:?usage: make-secrets.sh FOLDER}
umask 077
mkdir -p "$folder"
chmod 0700 "$folder"
for name in clickhouse_password clickhouse_reader_password grafana_admin_password n8n_encryption_key \
  alert_webhook_url odoo_db_password odoo_admin_password odoo_password odoo_api_key \
  account_key; do
  file=$folder/$name
  if [ -e "$file" ]; then
    echo "kept $file"
    continue
  fi
  case $name in
    # Where Alertmanager posts: n8n's webhook node in this composition. A receiver elsewhere: write its URL here.
    alert_webhook_url) printf 'http://n8n:5678/webhook/finwatch-alerts' >"$file" ;;
    # An Odoo 19 or later wants an API key, which its account makes: write it here. Empty: there is none.
    odoo_api_key) : >"$file" ;;
    # odoo_password is for the Odoo of the profile `odoo`; for yours, write its user's password or API key here.
    *) od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$file" ;;
  esac
  chmod 0444 "$file"
  echo "wrote $file"
done
