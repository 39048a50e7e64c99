// salesforce-pubsub-api-client, unchanged: each way to sign in, to subscribe and to publish.
import { readFileSync } from "node:fs";
import PubSubApiClient from "salesforce-pubsub-api-client";
import { assert, org, step } from "./steps.mjs";

const ORDERS = "/event/Order_Event__e";
const ACCOUNTS = "/data/AccountChangeEvent";
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
// It hands gRPC the certificates of its own package, so that NODE_EXTRA_CA_CERTS and gRPC's variable count for signing in alone.
// This option of its README is how its users reach a server with another certificate.
const shared = { pubSubEndpoint: org.pubsub_endpoint, rejectUnauthorizedSsl: false };
const login = { loginUrl: org.login_url };
const ways = {
  "user-supplied": { accessToken: org.access_token, instanceUrl: org.instance_url, organizationId: org.org_id },
  "username-password": { ...login, username: org.username, password: org.password, userToken: org.security_token },
  "oauth-client-credentials": { ...login, clientId: org.client_id, clientSecret: org.client_secret },
  "oauth-jwt-bearer": {
    ...login, clientId: org.client_id, username: org.username, privateKey: readFileSync(org.private_key, "utf8"),
  },
};

async function connected(authType) {
  const client = new PubSubApiClient({ authType, ...ways[authType], ...shared }, quiet);
  await client.connect();
  return client;
}

// The events of one subscription, until there are so many.
function heard(count, subscribe) {
  return new Promise((resolve, reject) => {
    const events = [];
    subscribe((_subscription, kind, data) => {
      if (kind === "error") reject(data);
      if (kind === "event") events.push(data);
      if (events.length === count) resolve(events);
    });
  });
}

for (const authType of Object.keys(ways)) {
  await step(`connect ${authType}`, async () => (await connected(authType)).close());
}

await step("connect: a wrong secret is refused", async () => {
  const wrong = { ...ways["oauth-client-credentials"], clientSecret: "wrong", ...shared };
  await assert.rejects(new PubSubApiClient({ authType: "oauth-client-credentials", ...wrong }, quiet).connect());
});

const client = await connected("oauth-client-credentials");
const order = (number) => ({
  CreatedDate: Date.now(), CreatedById: org.user_id, Order_Number__c: { string: number }, City__c: null,
});
let published;

await step("getConnectivityState", async () => assert.equal(typeof (await client.getConnectivityState()), "number"));
await step("publish", async () => {
  published = await client.publish(ORDERS, order("1"), "key-1");
  assert.equal(published.correlationKey, "key-1");
  assert.ok(published.replayId > 0);
});
await step("publishBatch", async () => {
  const events = ["2", "3"].map((number) => ({ id: `key-${number}`, payload: order(number) }));
  const results = await new Promise((resolve, reject) => {
    client.publishBatch(ORDERS, events, (_info, kind, data) => {
      if (kind === "error") reject(data);
      if (kind === "publishResponse") resolve(data.results ?? data);
    });
  });
  assert.equal(results.length, 2);
});
await step("subscribeFromEarliestEvent", async () => {
  const events = await heard(3, (callback) => client.subscribeFromEarliestEvent(ORDERS, callback, 3));
  assert.deepEqual(events.map((each) => each.payload.Order_Number__c), ["1", "2", "3"]);
  assert.equal(events[0].replayId, published.replayId);
});
await step("subscribeFromReplayId", async () => {
  const other = await connected("oauth-client-credentials");
  const events = await heard(2, (callback) => other.subscribeFromReplayId(ORDERS, callback, 2, published.replayId));
  assert.deepEqual(events.map((each) => each.payload.Order_Number__c), ["2", "3"]);
  other.close();
});
await step("subscribeFromReplayId: an id that the org does not have", async () => {
  const other = await connected("oauth-client-credentials");
  await assert.rejects(
    heard(1, (callback) => other.subscribeFromReplayId(ORDERS, callback, 1, 5)),
    (error) => JSON.stringify(error).includes("replayid") || String(error.message).includes("replayid"),
  );
  other.close();
});
await step("subscribeFromEarliestEvent: change events", async () => {
  const [event] = await heard(1, (callback) => client.subscribeFromEarliestEvent(ACCOUNTS, callback, 1));
  assert.equal(event.payload.Name, "Before");
  assert.equal(event.payload.ChangeEventHeader.changeType, "CREATE");
});
await step("subscribe, requestAdditionalEvents", async () => {
  const other = await connected("oauth-client-credentials");
  const events = [];
  const done = new Promise((resolve, reject) => {
    other.subscribe(ORDERS, (_subscription, kind, data) => {
      if (kind === "error") reject(data);
      if (kind === "event") events.push(data);
      if (kind === "lastevent" || kind === "lastEvent") other.requestAdditionalEvents(ORDERS, 1);
      if (events.length === 2) resolve();
    }, 1);
  });
  // LATEST begins when the org has opened the stream, so publish until it has been heard twice.
  const timer = setInterval(() => client.publish(ORDERS, order("now")).catch(() => {}), 100);
  await done.finally(() => clearInterval(timer));
  other.close();
});
await step("subscribeWithManagedSubscription, commitReplayId, requestAdditionalManagedEvents", async () => {
  const other = await connected("oauth-client-credentials");
  const first = await heard(1, (callback) => other.subscribeWithManagedSubscription("Orders", callback, 1));
  assert.equal(first[0].payload.Order_Number__c, "1");
  assert.equal(typeof other.commitReplayId(org.managed_subscription, first[0].replayId), "string");
  other.requestAdditionalManagedEvents(org.managed_subscription, 1);
  other.close();
});
await step("close", async () => client.close());
process.exit(0);
