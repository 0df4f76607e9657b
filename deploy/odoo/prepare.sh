#!/bin/bash
# Make the database of the profile `odoo`; safe to run again.
#
# 1. Once: install the finance modules with demo data.
# 2. Each time: replace the password that Odoo gives its administrator, and set up the user finwatch reads with.
set -euo pipefail
PGPASSWORD=$(cat /run/secrets/odoo_db_password)
export PGPASSWORD # libpq reads it; on the command line it would show in the list of processes
connect=(-c /etc/odoo/odoo.conf --db_host odoo-db --db_user odoo -d finwatch --no-http)
made=/var/lib/odoo/.finwatch-made
if [ ! -e "$made" ]; then
  odoo "${connect[@]}" -i account,purchase_stock,hr_expense --stop-after-init
  touch "$made"
fi
odoo shell "${connect[@]}" </deploy/users.py
