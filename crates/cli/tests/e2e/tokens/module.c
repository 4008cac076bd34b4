/* A PKCS#11 module in front of SoftHSM that misbehaves as FAULT says, and writes down logins and signings in FAULT_LOG. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long ulong;
typedef ulong (*function)();

enum {
    GET_TOKEN_INFO = 6, OPEN_SESSION = 12, LOGIN = 18, CREATE_OBJECT = 20, GET_ATTRIBUTES = 24, SET_ATTRIBUTES = 25,
    FIND_INIT = 26, FIND = 27, FIND_FINAL = 28, SIGN_INIT = 42, SIGN = 43, GENERATE_PAIR = 59, FUNCTIONS = 68
};
enum { DEVICE_MEMORY = 0x31, DEVICE_REMOVED = 0x32, PIN_LOCKED = 0xA4, WRITE_PROTECTED = 0xE2 };

struct list { unsigned char version[2]; function of[FUNCTIONS]; };
struct attribute { ulong type; void *value; ulong length; };

static struct list *real, changed;

static int fault(const char *name) {
    const char *wanted = getenv("FAULT");
    return wanted && strcmp(wanted, name) == 0;
}

static void note(const char *what) {
    const char *path = getenv("FAULT_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (log) { fprintf(log, "%s\n", what); fclose(log); }
}

static ulong token_info(ulong slot, unsigned char *info) {
    ulong result = real->of[GET_TOKEN_INFO](slot, info);
    ulong flags;
    memcpy(&flags, info + 96, sizeof flags);
    if (fault("locked")) flags |= 0x00040000UL;
    if (fault("last-try")) flags |= 0x00020000UL;
    memcpy(info + 96, &flags, sizeof flags);
    return result;
}

static ulong login(ulong session, ulong user, void *pin, ulong length) {
    note("login");
    if (fault("locks-now")) return PIN_LOCKED;
    return real->of[LOGIN](session, user, pin, length);
}

static ulong generate(ulong session, void *mechanism, void *public, ulong publics, void *private, ulong privates,
                      void *public_key, void *private_key) {
    if (fault("full")) return DEVICE_MEMORY;
    if (fault("protected")) return WRITE_PROTECTED;
    return real->of[GENERATE_PAIR](session, mechanism, public, publics, private, privates, public_key, private_key);
}

static ulong create(ulong session, void *template, ulong count, void *object) {
    if (fault("full")) return DEVICE_MEMORY;
    return real->of[CREATE_OBJECT](session, template, count, object);
}

static ulong set_attributes(ulong session, ulong object, void *template, ulong count) {
    if (fault("removed-half-way")) return DEVICE_REMOVED;
    return real->of[SET_ATTRIBUTES](session, object, template, count);
}

static ulong get_attributes(ulong session, ulong object, struct attribute *template, ulong count) {
    ulong result = real->of[GET_ATTRIBUTES](session, object, template, count);
    for (ulong i = 0; fault("garbage-key") && i < count; i++)
        if (template[i].type == 0x181 && template[i].value) memset(template[i].value, 0x5a, template[i].length);
    return result;
}

/* Signs with another private key of the token. */
static ulong another_key(ulong session, ulong key) {
    ulong class = 3, found[8], count = 0;
    struct attribute template = { 0, &class, sizeof class };
    real->of[FIND_INIT](session, &template, 1UL);
    real->of[FIND](session, found, 8UL, &count);
    real->of[FIND_FINAL](session);
    for (ulong i = 0; i < count; i++)
        if (found[i] != key) return found[i];
    return key;
}

static ulong sign_init(ulong session, void *mechanism, ulong key) {
    if (fault("removed")) return DEVICE_REMOVED;
    return real->of[SIGN_INIT](session, mechanism, fault("other-key") ? another_key(session, key) : key);
}

static ulong sign(ulong session, void *data, ulong length, unsigned char *signature, ulong *size) {
    ulong result = real->of[SIGN](session, data, length, signature, size);
    if (signature) note("sign");
    if (signature && fault("garbage")) memset(signature, 0x5a, *size);
    if (signature && fault("short") && *size > 1) *size -= 1;
    if (signature && fault("empty")) *size = 0;
    return result;
}

ulong C_GetFunctionList(struct list **list) {
    void *library = dlopen(getenv("FAULT_MODULE"), RTLD_NOW | RTLD_LOCAL);
    ulong (*get)(struct list **) = library ? (ulong (*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
    if (!get || get(&real) != 0) return 5;
    changed = *real;
    changed.of[GET_TOKEN_INFO] = (function)token_info;
    changed.of[LOGIN] = (function)login;
    changed.of[GENERATE_PAIR] = (function)generate;
    changed.of[CREATE_OBJECT] = (function)create;
    changed.of[SET_ATTRIBUTES] = (function)set_attributes;
    changed.of[GET_ATTRIBUTES] = (function)get_attributes;
    changed.of[SIGN_INIT] = (function)sign_init;
    changed.of[SIGN] = (function)sign;
    *list = &changed;
    return 0;
}
