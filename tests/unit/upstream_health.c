/* upstream_health.c: passive health (failures in a row, pauses that double, probes) and the verdicts of active checks. */
#include "lastack/server.h"
#include "test.h"

#define MS 1000000ull
#define S (1000 * MS)

static struct la_conf_upstream conf;
static struct la_health h;
static uint64_t now;

static void begin(void)
{
    conf = (struct la_conf_upstream){0};
    conf.passive.failures = 3;
    conf.passive.out_ms = 1000;
    conf.passive.out_max_ms = 5000;
    conf.health.unhealthy = 3;
    conf.health.healthy = 2;
    h = (struct la_health){0};
    now = 5000 * S;
}

static bool usable(void)
{
    bool probe;
    return la_health_usable(&h, now, &probe) && !probe;
}

static bool probes(void)
{
    bool probe;
    return la_health_usable(&h, now, &probe) && probe;
}

static bool fails(void)
{
    return la_health_failed(&h, &conf, false, now);
}

static void in_a_row(void)
{
    begin();
    CHECK(usable() && la_health_up(&h));
    CHECK(!fails() && !fails());
    la_health_ok(&h, now); /* breaks the row */
    CHECK(!fails() && !fails() && usable());
    CHECK(fails());
    CHECK(!usable() && !probes() && !la_health_up(&h));
    CHECK(!fails()); /* late news are no second time out */
    now += S - 1;
    CHECK(!usable() && !probes());
    now += 1;
    CHECK(probes());

    begin();
    conf.passive.failures = 0; /* off */
    for (int i = 0; i < 100; i++)
        CHECK(!fails() && usable());
}

/* One request at a time tries a server whose pause is over. */
static void probing(void)
{
    begin();
    while (!fails())
        ;
    now += S;
    CHECK(probes() && la_health_claim_probe(&h, now));
    CHECK(!probes() && !usable() && !la_health_claim_probe(&h, now));
    now += 9 * S;
    CHECK(!probes()); /* it may take its time */
    now += S;
    CHECK(probes()); /* but a claim nobody answers for ends */
    CHECK(la_health_claim_probe(&h, now) && !la_health_claim_probe(&h, now));
    la_health_ok(&h, now);
    CHECK(usable() && la_health_up(&h));
    CHECK_EQ(atomic_load(&h.up_since_ns), now);
    CHECK(!fails() && !fails() && fails()); /* counting starts anew */
}

/* What a dial says refutes what dials said; a probe that leaves makes way. */
static void reachable(void)
{
    begin();
    for (int i = 0; i < 3; i++)
        la_health_failed(&h, &conf, true, now);
    CHECK(!usable());
    la_health_connected(&h, now);
    CHECK(usable() && la_health_up(&h));
    CHECK_EQ(atomic_load(&h.up_since_ns), now);
    CHECK_EQ(atomic_load(&h.last_ok_ns), 0); /* a connection is no response */
    for (int i = 0; i < 3; i++) /* a dial among them does not make them all dials */
        CHECK_EQ(la_health_failed(&h, &conf, i == 2, now), i == 2);
    la_health_connected(&h, now);
    CHECK(!usable());
    la_health_ok(&h, now);

    while (!fails())
        ;
    now += S;
    CHECK(la_health_claim_probe(&h, now));
    la_health_connected(&h, now); /* it never was unreachable */
    CHECK(!usable() && !probes());
    la_health_probe_over(&h);
    CHECK(probes() && !la_health_up(&h));
}

static void pauses_double(void)
{
    static const unsigned pause_ms[] = {1000, 2000, 4000, 5000, 5000};
    begin();
    while (!fails())
        ;
    for (unsigned i = 0; i < la_count(pause_ms); i++) {
        CHECK_EQ(atomic_load(&h.out_until_ns), now + pause_ms[i] * MS);
        now += pause_ms[i] * MS;
        CHECK(la_health_claim_probe(&h, now));
        now += 10 * MS;
        CHECK(!fails()); /* out already: no news, but a longer pause */
        CHECK(!probes() && !usable());
    }
    now = atomic_load(&h.out_until_ns);
    CHECK(la_health_claim_probe(&h, now));
    la_health_ok(&h, now);
    while (!fails())
        ;
    CHECK_EQ(atomic_load(&h.out_until_ns), now + 1000 * MS); /* from the start again */
}

static void last_ok(void)
{
    begin();
    la_health_ok(&h, now);
    CHECK_EQ(atomic_load(&h.last_ok_ns), now);
    uint64_t first = now;
    now += 100 * MS; /* written ten times a second at most */
    la_health_ok(&h, now);
    CHECK_EQ(atomic_load(&h.last_ok_ns), first);
    now += 1;
    la_health_ok(&h, now);
    CHECK_EQ(atomic_load(&h.last_ok_ns), now);
    CHECK_EQ(atomic_load(&h.up_since_ns), 0); /* it never was out: no slow start */
}

static bool check(bool ok)
{
    return la_health_checked(&h, &conf, ok, now);
}

static void active(void)
{
    begin();
    CHECK(!check(true) && !check(true) && !check(true)); /* up it was */
    CHECK(!check(false) && !check(false));
    CHECK(!check(true)); /* breaks the row */
    CHECK(!check(false) && !check(false) && usable());
    CHECK(check(false));
    CHECK(!usable() && !probes() && !la_health_up(&h));
    now += 1000 * S;
    CHECK(!usable() && !probes()); /* no pause: only a check brings it back */
    la_health_ok(&h, now);         /* a straggler's response does not */
    CHECK(!usable());
    CHECK(!check(false) && !check(true) && !check(false) && !check(true));
    CHECK(!usable());
    CHECK(check(true));
    CHECK(usable() && la_health_up(&h));
    CHECK_EQ(atomic_load(&h.up_since_ns), now);
    CHECK(!check(true));
}

/* Good checks end a passive time out. */
static void active_and_passive(void)
{
    begin();
    CHECK(!check(true));
    while (!fails())
        ;
    CHECK(!usable());
    CHECK(!check(true)); /* those before do not count */
    CHECK(check(true));
    CHECK(usable() && la_health_up(&h));
    CHECK(!fails() && !fails() && fails()); /* three new ones */
    CHECK_EQ(atomic_load(&h.out_until_ns), now + 1000 * MS);
    /* Down by both: the passive pause alone does not let it in. */
    CHECK(!check(false) && !check(false) && check(false));
    now += 100 * S;
    CHECK(!usable() && !probes());
    CHECK(!check(true) && check(true) && usable());
}

int main(void)
{
    in_a_row();
    probing();
    reachable();
    pauses_double();
    last_ok();
    active();
    active_and_passive();
    return TEST_DONE();
}
