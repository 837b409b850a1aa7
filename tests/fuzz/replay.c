/* replay.c: main() for a fuzz target without libFuzzer: runs it over every file of the directories (or files)
 * given. ctest uses it to replay the corpora. Fails when there was nothing to run. */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned long files;

static void run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    size_t n = 0, cap = 4096, got;
    uint8_t *data = malloc(cap);
    while (data != NULL && (got = fread(data + n, 1, cap - n, f)) > 0) {
        n += got;
        if (n == cap)
            data = realloc(data, cap *= 2);
    }
    fclose(f);
    FUZZ_CHECK(data != NULL);
    uint8_t *exact = (uint8_t *)fuzz_copy(data, n); /* the sanitizer sees the true end */
    free(data);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    files++;
}

static void run_path(const char *path)
{
    struct stat st;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        run_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char file[4096];
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
            run_file(file);
    }
    closedir(dir);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        run_path(argv[i]);
    printf("%lu inputs\n", files);
    return files > 0 ? 0 : 1;
}
