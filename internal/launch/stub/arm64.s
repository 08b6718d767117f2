// The launch program's interpreter for arm64: GNU assembler source.
// `go generate` turns it into arm64.bin; stub.go describes the records.
//
// It uses no stack, no memory of its own but the header at DATA, and never
// returns: a program ends with an exit_group of its own or by a failed call.

        .set    DATA, 0x601000          // dataAddr in image.go

        .set    H_STATUS, 0             // header: the status descriptor
        .set    H_REPORT, 8             // header: index and errno of a failure
        .set    H_OPS, 64               // header: its size; the first record

        .set    NR, 0                   // record: system call number
        .set    KIND, 4                 // record: what to do
        .set    MASK, 5                 // record: which arguments are loads
        .set    INDEX, 6                // record: its own number
        .set    ARG, 8                  // record: six arguments
        .set    OUT, 56                 // record: where the result goes
        .set    ERR, 64                 // record: four {errno, next record}
        .set    SIZE, 96                // record: its size

        .set    SYS_write, 64
        .set    SYS_exit_group, 94

        // resolve argument n into xn: a load if bit n of w9 is set
        .macro  resolve n
        ldr     x\n, [x19, #ARG + 8*\n]
        tbz     w9, #\n, 1f
        ldr     x\n, [x\n]
1:
        .endm

        .globl  _start
_start:
        movz    x20, #(DATA & 0xffff)   // x20: the header, for good
        movk    x20, #(DATA >> 16), lsl #16
        add     x19, x20, #H_OPS        // x19: the current record

step:   ldrb    w9, [x19, #MASK]
        resolve 0
        resolve 1
        resolve 2
        resolve 3
        resolve 4
        resolve 5
        ldr     x21, [x19, #OUT]        // x21: survives the system call
        ldrb    w9, [x19, #KIND]
        cbz     w9, call                // kind 0
        cmp     w9, #2
        b.lo    ifeq                    // kind 1
        b.eq    ifne                    // kind 2
        cmp     w9, #3
        b.eq    sum                     // kind 3

        str     w0, [x21]               // kind 4: store the low 32 bits
        b       next

sum:    add     x0, x0, x1              // kind 3: the sum of two
        b       store

ifeq:   and     x0, x0, x1              // kind 1: jump if (a & b) == c
        cmp     x0, x2
        b.ne    next
        mov     x19, x3
        b       step

ifne:   and     x0, x0, x1              // kind 2: jump if (a & b) != c
        cmp     x0, x2
        b.eq    next
        mov     x19, x3
        b       step

call:   ldr     w8, [x19, #NR]
        svc     #0
        cmn     x0, #4095
        b.hs    error
store:  str     x0, [x21]
next:   add     x19, x19, #SIZE
        b       step

error:  neg     w10, w0                 // w10: errno
        add     x11, x19, #ERR
        mov     w12, #4
3:      ldp     w13, w14, [x11], #8
        cmp     w13, w10
        b.eq    known
        subs    w12, w12, #1
        b.ne    3b

        ldrh    w9, [x19, #INDEX]       // not a known one: report and end
        stp     w9, w10, [x20, #H_REPORT]
        ldr     w0, [x20, #H_STATUS]
        add     x1, x20, #H_REPORT
        mov     x2, #8
        mov     x8, #SYS_write
        svc     #0
        mov     x0, #127
        mov     x8, #SYS_exit_group
        svc     #0
        brk     #0

known:  str     x0, [x21]               // a known one: go where it says
        mov     w19, w14
        b       step
