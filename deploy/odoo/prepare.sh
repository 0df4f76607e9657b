#!/bin/bash
# Make the demo database of the profile `odoo`, once; safe to run again.
#
# 1. Install the finance modules with demo data.
# 2. Replace the password that Odoo gives its administrator, and make the user finwatch reads with.
set -euo pipefail
connect=(--db_host odoo-db --db_user odoo --db_password "$(cat /run/secrets/odoo_db_password)" -d finwatch --no-http)
odoo "${connect[@]}" -c /etc/odoo/odoo.conf -i account,purchase_stock,hr_expense --stop-after-init
odoo shell "${connect[@]}" -c /etc/odoo/odoo.conf </deploy/users.py
