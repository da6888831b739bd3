# The whole system of a guest that has only to run and to own a disk: no kernel, a fraction of a
# second to boot, and a processor that sleeps. QEMU loads it as it loads a Linux kernel, so its disk
# starts empty; it stays in real mode and asks the firmware for the disk.
#
# About twice a second it writes `record NUMBER 0 UPTIME`, 4 KiB, to block NUMBER % 4096 of its
# first disk, as guest_init.sh does, and then NUMBER to block 4096, to count on after a restart. At
# each tick of the clock it obeys the power button, the balloon, and whoever unplugs a card or disk.
.code16
.set SEGMENT, 0x1000            # QEMU loads this file there, from its first byte
.set RECORD, 0x4000             # 4 KiB
.set LAST, 0x6000               # 512 bytes
.set LAST_SECTOR, 4096 * 8
.set MARK, 0x7473616c           # `last`
.set TICKS, 10                  # of 55 ms, from one record to the next

.global _start
_start:
.org 0x1f1
    .byte 4                     # sectors of this file after the first that are loaded
.org 0x1fe
    .word 0xaa55
    jmp begin                   # QEMU jumps here
    .ascii "HdrS"
    .word 0x0203                # the version of Linux's boot protocol
.org 0x211
    .byte 1                     # what comes after those sectors goes above 1 MiB: nothing
.org 0x270

begin:
    ljmp $SEGMENT, $here
here:
    mov %cs, %ax
    mov %ax, %ds
    mov %ax, %es
    cld
    call clock
    mov %ax, seen
    mov $0x602, %dx             # ACPI: let the power button be seen
    mov $0x100, %ax
    outw %ax, %dx
    mov $0xb102, %ax            # PCI BIOS: find the virtio balloon
    mov $0x1002, %cx
    mov $0x1af4, %dx
    xor %si, %si
    int $0x1a
    jc find_last
    mov $0xb10a, %ax            # and its registers
    mov $0x10, %di
    int $0x1a
    jc find_last
    and $0xfffc, %cx
    add $20, %cx
    mov %cx, balloon

find_last:
    call tick
    movl $LAST_SECTOR, sector
    movw $LAST, place
    movw $1, count
    mov $0x42, %ah
    call disk
    jc find_last                # there is no disk yet
    xor %eax, %eax
    cmpl $MARK, LAST
    jne 1f
    movl LAST + 4, %eax
1:  movl %eax, number
    movl $MARK, LAST

next:
    incl number
again:
    mov $RECORD, %di            # a record is text, and zeros to its end
    mov $1024, %cx
    xor %eax, %eax
    rep stosl
    mov $RECORD, %di
    mov $word, %si
    mov $7, %cx
    rep movsb
    movl number, %eax
    mov $12, %cx
    call decimal
    movl $0x00203020, (%di)     # nobody needs to know the hour: it is 0
    add $3, %di
    movl ticks, %eax            # into hundredths of a second
    mov $5493, %ebx
    mul %ebx
    mov $1000, %ebx
    div %ebx
    xor %edx, %edx
    mov $100, %ebx
    div %ebx
    push %dx
    mov $8, %cx
    call decimal
    movb $0x2e, (%di)
    inc %di
    pop %ax
    movzwl %ax, %eax
    mov $2, %cx
    call decimal
    movb $0x0a, (%di)
    movl number, %eax
    and $4095, %eax
    shl $3, %eax
    movl %eax, sector
    movw $RECORD, place
    movw $8, count
    mov $0x4300, %ax
    call disk
    jnc 1f
    call tick
    jmp again
1:  movl number, %eax
    movl %eax, LAST + 4
    movl $LAST_SECTOR, sector
    movw $LAST, place
    movw $1, count
    mov $0x4300, %ax
    call disk
    mov $TICKS, %cx
2:  push %cx
    call tick
    pop %cx
    loop 2b
    jmp next

disk:                           # do to `count` sectors what ah says; carry: it failed
    mov $request, %si
    mov $0x80, %dl
    int $0x13
    ret

decimal:                        # write eax with cx digits to di, and go on behind them
    add %cx, %di
    push %di
    mov $10, %ebx
1:  xor %edx, %edx
    div %ebx
    add $0x30, %dl
    dec %di
    mov %dl, (%di)
    loop 1b
    pop %di
    ret

tick:                           # sleep until the clock ticks, and do what the host asks for
    sti
    hlt
    call clock
    mov %ax, %bx
    sub seen, %ax
    movzwl %ax, %eax
    addl %eax, ticks
    mov %bx, seen
    mov $0x600, %dx             # ACPI: was the power button pressed?
    inw %dx, %ax
    test $0x100, %ax
    jz 1f
    mov $0x604, %dx             # ACPI: power off
    mov $0x2000, %ax
    outw %ax, %dx
1:  mov balloon, %dx            # virtio: how many pages shall the balloon have?
    test %dx, %dx
    jz 2f
    inl %dx, %eax
    mov %eax, %ebx
    add $4, %dx
    inl %dx, %eax
    cmp %eax, %ebx
    je 2f
    mov %ebx, %eax
    outl %eax, %dx              # so many it has, though all stay in use
2:  mov $0xae10, %dx            # QEMU: is a card or disk of the first bus to be let go?
    xor %eax, %eax
    outl %eax, %dx
    mov $0xae04, %dx
    inl %dx, %eax
    test %eax, %eax
    jz 3f
    mov $0xae08, %dx
    outl %eax, %dx
3:  ret

clock:                          # the firmware counts the ticks there
    push %es
    xor %ax, %ax
    mov %ax, %es
    mov %es:0x46c, %ax
    pop %es
    ret

word:    .ascii "record "
.balign 4
request: .byte 16, 0            # the firmware's form for a request to a disk
count:   .word 0
place:   .word 0, SEGMENT
sector:  .long 0, 0
number:  .long 0
ticks:   .long 0
seen:    .word 0
balloon: .word 0
.org 0xc00
