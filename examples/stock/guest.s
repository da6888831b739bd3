# A guest of one sector, booted from its own disk by the firmware: no kernel, no file system.
#
# About once a second it writes the next record, 4 KiB of its number over and over, to its place
# among 4096 behind the first MiB, and then the number with a mark to sector 1, so that it counts on
# after a restart. Whoever reads the disk can tell which records must be there.
.code16
.set RECORD, 0x8000
.set LAST, 0x9000
.set MARK, 0x6b636f74           # `tock`
.set FIRST, 2048                # the sector at which the records begin
.set TICKS, 18                  # of 55 ms

.global _start
_start:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7000, %sp
    cld
    mov %dl, drive
    mov $0x42, %ah              # which number was the last?
    call number_sector
    cmpl $MARK, LAST
    jne next
    mov LAST + 4, %eax
    mov %eax, number
next:
    incl number
    mov number, %eax
    mov $RECORD, %di
    mov $1024, %cx
    rep stosl
    and $4095, %eax
    shl $3, %eax
    add $FIRST, %eax
    mov %eax, sector
    movw $RECORD, place
    movw $8, count
    mov $0x4300, %ax
    call disk
    movl $MARK, LAST
    mov number, %eax
    mov %eax, LAST + 4
    mov $0x4300, %ax
    call number_sector
    mov $TICKS, %cx
1:  sti
    hlt
    loop 1b
    jmp next

number_sector:                  # do to sector 1 what ax says
    movl $1, sector
    movw $LAST, place
    movw $1, count
disk:
    mov $request, %si
    mov drive, %dl
    int $0x13
    ret

drive:   .byte 0
.balign 4
request: .byte 16, 0            # the firmware's form for a request to a disk
count:   .word 0
place:   .word 0, 0
sector:  .long 0, 0
number:  .long 0
.org 510
    .word 0xaa55
