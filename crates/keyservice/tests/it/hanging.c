/* A PKCS#11 module in front of SoftHSM whose signing does not come back as long as the file HANG is there. */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

typedef unsigned long ulong;
typedef ulong (*function)();

enum { SIGN = 43, FUNCTIONS = 68 };

struct list { unsigned char version[2]; function of[FUNCTIONS]; };

static struct list *real, changed;

static ulong sign(ulong session, void *data, ulong length, unsigned char *signature, ulong *size) {
    while (access(getenv("HANG"), F_OK) == 0) usleep(10000);
    return real->of[SIGN](session, data, length, signature, size);
}

ulong C_GetFunctionList(struct list **list) {
    void *library = dlopen(getenv("HANG_MODULE"), RTLD_NOW | RTLD_LOCAL);
    ulong (*get)(struct list **) = library ? (ulong (*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
    if (!get || get(&real) != 0) return 5;
    changed = *real;
    changed.of[SIGN] = (function)sign;
    *list = &changed;
    return 0;
}
