#include <stdio.h>
#include "greeting.h"
int main(int argc, char **argv) { return printf(GREETING ", %s (%s)\n", argc > 1 ? argv[1] : "nobody", VERSION) < 0; }
