# shellcheck shell=bash
# Reads all parts, in order. CHANGED tells whether a script had anything to do.
CHANGED=''
for part in common process packages native redis rabbitmq postgres docker external servers build hosts demo; do
  # shellcheck source=/dev/null
  . "$(dirname "${BASH_SOURCE[0]}")/$part.sh"
done
