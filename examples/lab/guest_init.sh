#!/bin/sh
# The whole system of a guest of the lab: it writes numbered records to /dev/vda, answers ping on its
# network, obeys the power button, runs commands that come over its virtio channel, and else sleeps.
PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module options; do insmod "/lib/$module" $options; done </lib/modules.order
exec </dev/null >/dev/ttyS0 2>&1
mkfifo /never
exec 3<>/never # nothing is ever written here: read -t on it sleeps without a process of its own

pause() { read -r -t "$1" _ <&3; }

# The address is in the MAC: 52:54:00:AA:BB:CC is 10.AA.BB.CC/24, on whichever interface bears it.
address_interfaces() {
  for interface in /sys/class/net/eth*; do
    name=${interface##*/}
    read -r mac 2>/dev/null <"$interface/address" || continue
    [ -e "/run.$name.$mac" ] && continue
    : >"/run.$name.$mac"
    old_ifs=$IFS; IFS=:; set -- $mac; IFS=$old_ifs
    ip addr flush dev "$name"
    ip addr add "10.$((0x$4)).$((0x$5)).$((0x$6))/24" dev "$name"
    ip link set "$name" up
  done
}

enable_processors() {
  for switch in /sys/devices/system/cpu/cpu*/online; do
    read -r online 2>/dev/null <"$switch" || continue
    [ "$online" = 1 ] || echo 1 >"$switch"
  done
}

# Record n lies in block n % 4096, so the highest number on the disk is where the last life ended.
last_record() {
  first=$(dd if=/dev/vda bs=4096 skip=1 count=1 2>/dev/null | tr -d '\0')
  [ -n "$first" ] || { echo 0; return; }
  dd if=/dev/vda bs=4096 count=4096 2>/dev/null | tr -d '\0' | grep '^record ' | sort | tail -n 1 |
    { read -r _ number _; while [ "${number#0}" != "$number" ]; do number=${number#0}; done; echo "${number:-0}"; }
}

write_records() {
  until [ -b /dev/vda ]; do pause 0.5; done
  n=$(last_record)
  while :; do
    n=$((n + 1))
    digits=00000000000$n
    while [ ${#digits} -gt 12 ]; do digits=${digits#?}; done
    read -r rtc </sys/class/rtc/rtc0/since_epoch
    read -r uptime _ </proc/uptime
    line="record $digits $rtc $uptime"
    dd of=/dev/vda bs=4096 seek=$((n % 4096)) conv=notrunc,sync,fsync 2>/dev/null <<C && echo "$line"
$line
C
    pause 0.8
  done
}

# One line in is one command; its output goes back, then a line "exit STATUS".
serve_channel() {
  port=
  while [ -z "$port" ]; do
    for node in /sys/class/virtio-ports/*; do
      read -r name 2>/dev/null <"$node/name" && [ "$name" = hotsite.lab ] && port=/dev/${node##*/}
    done
    pause 0.2
  done
  exec 4<>"$port" # for ever: libvirt 9.0 holds up every event while a port opens or closes in a backup
  while :; do
    while read -r command <&4; do
      case $command in '') continue ;; esac
      sh -c "$command" </dev/null >&4 2>&1
      echo "exit $?" >&4
    done
    pause 0.5 # nobody is at the other end
  done
}

obey_power_button() {
  for node in /sys/class/input/event*; do
    read -r name <"$node/device/name"
    [ "$name" = "Power Button" ] && dd if=/dev/input/${node##*/} of=/dev/null bs=24 count=1 2>/dev/null && break
  done
  echo "power button pressed"
  kill "$writer"
  sync
  poweroff -f
}

address_interfaces
write_records &
writer=$!
serve_channel &
obey_power_button &
while :; do address_interfaces; enable_processors; pause 2; done
