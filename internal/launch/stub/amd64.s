# The launch program's interpreter for amd64: GNU assembler source.
# `go generate` turns it into amd64.bin; stub.go describes the records.
#
# It uses no stack, no memory of its own but the header at DATA, and never
# returns: a program ends with an exit_group of its own or by a failed call.

        .set    DATA, 0x601000          # dataAddr in image.go

        .set    H_STATUS, 0             # header: the status descriptor
        .set    H_REPORT, 8             # header: index and errno of a failure
        .set    H_ARG, 16               # header: the six arguments, resolved
        .set    H_OPS, 64               # header: its size; the first record

        .set    NR, 0                   # record: system call number
        .set    KIND, 4                 # record: what to do
        .set    MASK, 5                 # record: which arguments are loads
        .set    INDEX, 6                # record: its own number
        .set    ARG, 8                  # record: six arguments
        .set    OUT, 56                 # record: where the result goes
        .set    ERR, 64                 # record: four {errno, next record}
        .set    SIZE, 96                # record: its size

        .set    SYS_write, 1
        .set    SYS_exit_group, 231

        .globl  _start
_start:
        mov     $DATA, %ebp             # rbp: the header, for good
        lea     H_OPS(%rbp), %rbx       # rbx: the current record

step:                                   # resolve the arguments
        movzbl  MASK(%rbx), %ecx
        xor     %edx, %edx
1:      mov     ARG(%rbx,%rdx,8), %rax
        shr     $1, %ecx
        jnc     2f
        mov     (%rax), %rax            # a load: the argument is an address
2:      mov     %rax, H_ARG(%rbp,%rdx,8)
        inc     %edx
        cmp     $6, %edx
        jb      1b

        mov     H_ARG(%rbp), %rdi
        mov     H_ARG+8(%rbp), %rsi
        mov     H_ARG+16(%rbp), %rdx
        mov     H_ARG+24(%rbp), %r10
        mov     OUT(%rbx), %r12         # r12: survives the system call
        movzbl  KIND(%rbx), %ecx
        dec     %ecx
        js      call                    # kind 0
        jz      ifeq                    # kind 1
        dec     %ecx
        jz      ifne                    # kind 2
        dec     %ecx
        jz      sum                     # kind 3

        mov     %edi, (%r12)            # kind 4: store the low 32 bits
        jmp     next

sum:    add     %rsi, %rdi              # kind 3: the sum of two
        mov     %rdi, %rax
        jmp     store

ifeq:   and     %rsi, %rdi              # kind 1: jump if (a & b) == c
        cmp     %rdx, %rdi
        jne     next
        mov     %r10, %rbx
        jmp     step

ifne:   and     %rsi, %rdi              # kind 2: jump if (a & b) != c
        cmp     %rdx, %rdi
        je      next
        mov     %r10, %rbx
        jmp     step

call:   mov     H_ARG+32(%rbp), %r8
        mov     H_ARG+40(%rbp), %r9
        mov     NR(%rbx), %eax
        syscall
        cmp     $-4095, %rax
        jae     error
store:  mov     %rax, (%r12)
next:   add     $SIZE, %rbx
        jmp     step

error:  mov     %rax, %rdx
        neg     %edx                    # edx: errno
        xor     %ecx, %ecx
3:      cmp     ERR(%rbx,%rcx,8), %edx
        je      known
        inc     %ecx
        cmp     $4, %ecx
        jb      3b

        movzwl  INDEX(%rbx), %eax       # not a known one: report and end
        mov     %eax, H_REPORT(%rbp)
        mov     %edx, H_REPORT+4(%rbp)
        mov     H_STATUS(%rbp), %edi
        lea     H_REPORT(%rbp), %rsi
        mov     $8, %edx
        mov     $SYS_write, %eax
        syscall
        mov     $127, %edi
        mov     $SYS_exit_group, %eax
        syscall
        hlt

known:  mov     %rax, (%r12)            # a known one: go where it says
        mov     ERR+4(%rbx,%rcx,8), %ebx
        jmp     step
