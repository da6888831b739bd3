# Make what an estate has before anybody comes with hotsite, on one stock host, as root. Standard
# input of `sh -s VM...`; /root/guest.bin is the guest of guest.s, which writes to the disk it boots
# from. Without a name: the pool alone.
#
#   WIN_2019   a name in capitals, a file in a pool of another name, a card on br0, a TPM
#   db         two logical volumes, thick and thin; a card on libvirt's NAT network; autostart
#   mail       a file, a card on br0
set -e
images=/var/lib/libvirt/images
virsh -q pool-info images >/dev/null 2>&1 || {
  virsh -q pool-define-as images dir --target $images
  virsh -q pool-start images
  virsh -q pool-autostart images
}
cd $images

define() { # NAME DEVICES: a machine that both suites know, since it is to run on either
  virsh -q define /dev/stdin <<X
<domain type='qemu'><name>$1</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><boot dev='hd'/></os>
<features><acpi/></features><clock offset='utc'/>
<cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>
<devices>$2<serial type='pty'/></devices></domain>
X
  virsh -q start "$1"
}
with_file() { # NAME FILE MAC MORE: a VM on a file, with a card on br0
  [ -e "$2" ] || qemu-img create -q -f qcow2 "$2" 64M
  qemu-io -f qcow2 -c 'write -s /root/guest.bin 0 512' "$2" >/dev/null
  define "$1" "
<disk type='file'><driver name='qemu' type='qcow2' cache='writethrough'/>
  <source file='$images/$2'/><target dev='vda' bus='virtio'/></disk>
<interface type='bridge'><mac address='$3'/><source bridge='br0'/><model type='e1000'/></interface>
$4"
}
with_volumes() { # NAME MAC
  [ -e /dev/vg0/db ] || lvcreate -q -y -L 64M -n db vg0 >/dev/null
  [ -e /dev/vg0/logs ] || lvcreate -q -y -V 48M -T vg0/thin -n logs >/dev/null
  dd if=/root/guest.bin of=/dev/vg0/db conv=notrunc,fsync status=none
  define "$1" "
<disk type='block'><driver name='qemu' type='raw' cache='none'/><source dev='/dev/vg0/db'/>
  <target dev='vda' bus='virtio'/></disk>
<disk type='block'><driver name='qemu' type='raw' cache='none'/><source dev='/dev/vg0/logs'/>
  <target dev='vdb' bus='virtio'/></disk>
<interface type='network'><mac address='$2'/><source network='default'/>
  <model type='virtio'/></interface>"
  virsh -q autostart "$1"
}
for vm in "$@"; do
  case $vm in
    WIN_2019) with_file "$vm" win.qcow2 52:54:00:66:00:01 \
      "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>" ;;
    db) with_volumes "$vm" 52:54:00:66:00:02 ;;
    mail) with_file "$vm" mail.qcow2 52:54:00:66:00:03 '' ;;
  esac
done
