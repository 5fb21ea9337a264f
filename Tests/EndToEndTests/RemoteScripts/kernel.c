// A 64-bit kernel of its own, for debuggers with its types and lines: it makes a list of tasks, runs them round after
// round, and writes what it counts to port E9h. Built by the test with -g, loaded as an ELF file.
typedef unsigned long u64;

enum state { READY, RUNNING, DONE };

struct task {
    char name[8];
    enum state state;
    u64 ticks;
    struct task *next;
};

static struct task tasks[3] = {
    {"idle", READY, 0, &tasks[1]},
    {"shell", READY, 0, &tasks[2]},
    {"timer", READY, 0, &tasks[0]},
};
static struct task *current = &tasks[0];
static u64 jiffies;

static void put(char byte) { __asm__ volatile("outb %0, $0xe9" : : "a"(byte)); }

static void account(struct task *task, u64 ticks) {
    task->ticks += ticks;
    jiffies += ticks;
    put('0' + (char)(jiffies % 10));
}

static struct task *pick(struct task *last) {
    last->state = READY;
    struct task *next = last->next;
    next->state = RUNNING;
    return next;
}

static void schedule(void) {
    current = pick(current);
    account(current, 3);
}

void kernel_main(void) {
    for (int round = 0; round < 4; round++) schedule();
    current->state = DONE;
    for (;;) __asm__ volatile("cli; hlt");
}

// The loader gives a stack; a function of C expects it to be misaligned by the return address of a call.
__asm__(".globl start\nstart: xor %ebp, %ebp\ncall kernel_main\n1: hlt\njmp 1b\n");
