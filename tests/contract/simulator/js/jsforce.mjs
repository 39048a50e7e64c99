// jsforce 3, unchanged: each of its calls that the simulated org serves.
import jsforce from "jsforce";
import { assert, org, step } from "./steps.mjs";

const told = { loginUrl: org.login_url, instanceUrl: org.instance_url, version: "60.0" };
const password = org.password + org.security_token;
const conn = new jsforce.Connection({ ...told, accessToken: org.access_token });

await step("login (SOAP)", async () => {
  const soap = new jsforce.Connection(told);
  const info = await soap.login(org.username, password);
  assert.equal(info.organizationId.slice(0, 15), org.org_id.slice(0, 15));
  assert.equal((await soap.query("SELECT Id FROM Account LIMIT 1")).totalSize, 1);
  await soap.logout();
});
await step("login (OAuth username-password)", async () => {
  const oauth2 = { loginUrl: org.login_url, clientId: org.client_id, clientSecret: org.client_secret };
  const one = new jsforce.Connection({ ...told, oauth2 });
  await one.login(org.username, password);
  assert.equal((await one.identity()).organization_id, org.org_id);
  await one.logout(true);
});
await step("authorize (client credentials)", async () => {
  const oauth2 = { loginUrl: org.login_url, clientId: org.client_id, clientSecret: org.client_secret };
  const one = new jsforce.Connection({ ...told, oauth2 });
  await one.authorize({ grant_type: "client_credentials" });
  assert.equal((await one.identity()).user_id, org.user_id);
});
await step("refresh token", async () => {
  const oauth2 = new jsforce.OAuth2({ loginUrl: org.login_url, clientId: org.client_id, clientSecret: org.client_secret });
  const one = new jsforce.Connection({ ...told, oauth2, accessToken: "expired", refreshToken: org.refresh_token });
  assert.equal((await one.query("SELECT Id FROM Account LIMIT 1")).totalSize, 1);
  assert.notEqual(one.accessToken, "expired");
});
await step("identity", async () => assert.equal((await conn.identity()).organization_id, org.org_id));
await step("limits", async () => assert.ok((await conn.limits()).DailyApiRequests.Max > 0));
await step("limitInfo", async () => assert.ok(conn.limitInfo.apiUsage.used > 0));
await step("describeGlobal", async () => {
  assert.ok((await conn.describeGlobal()).sobjects.some((each) => each.name === "Account"));
});
await step("describe", async () => assert.equal((await conn.sobject("Account").describe()).name, "Account"));
await step("describe$", async () => assert.equal((await conn.describe$("Account")).name, "Account"));
await step("recent", async () => assert.ok(Array.isArray(await conn.recent("Account"))));
await step("versions", async () => assert.ok((await conn.request("/services/data")).length > 0));

let id, ids;
await step("create", async () => {
  const made = await conn.sobject("Account").create({ Name: "One", Industry: "Energy" });
  assert.equal(made.success, true);
  id = made.id;
});
await step("create many", async () => {
  const made = await conn.sobject("Account").create([{ Name: "Two" }, { Name: "Three" }]);
  assert.deepEqual(made.map((each) => each.success), [true, true]);
  ids = made.map((each) => each.id);
});
await step("create 450 (allowRecursive)", async () => {
  const records = Array.from({ length: 450 }, (_, n) => ({ Name: `Many ${n}` }));
  const made = await conn.sobject("Account").create(records, { allowRecursive: true });
  assert.equal(made.filter((each) => each.success).length, 450);
});
await step("retrieve", async () => assert.equal((await conn.sobject("Account").retrieve(id)).Name, "One"));
await step("retrieve many", async () => assert.equal((await conn.sobject("Account").retrieve(ids)).length, 2));
await step("update", async () => {
  assert.equal((await conn.sobject("Account").update({ Id: id, Phone: "1" })).success, true);
});
await step("update many", async () => {
  const done = await conn.sobject("Account").update(ids.map((Id) => ({ Id, Phone: "2" })));
  assert.deepEqual(done.map((each) => each.success), [true, true]);
});
await step("upsert", async () => {
  const made = await conn.sobject("Account").upsert({ Salmon_Id__c: "k1", Name: "Upserted" }, "Salmon_Id__c");
  assert.equal(made.success, true);
  const again = await conn.sobject("Account").upsert({ Salmon_Id__c: "k1", Phone: "3" }, "Salmon_Id__c");
  assert.equal(again.created ?? false, false);
});
await step("upsert many", async () => {
  const made = await conn.sobject("Account").upsert(
    [{ Salmon_Id__c: "k2", Name: "A" }, { Salmon_Id__c: "k3", Name: "B" }], "Salmon_Id__c");
  assert.deepEqual(made.map((each) => each.success), [true, true]);
});
await step("record errors", async () => {
  await assert.rejects(conn.sobject("Account").create({ Phone: "1" }), (error) => error.errorCode === "REQUIRED_FIELD_MISSING");
});

await step("query", async () => {
  const found = await conn.query("SELECT Id, Name FROM Account WHERE Name = 'One'");
  assert.equal(found.records[0].Name, "One");
});
await step("queryMore, autoFetch", async () => {
  const query = conn.query("SELECT Id FROM Contact");
  const all = await query.run({ autoFetch: true, maxFetch: 10_000 });
  assert.equal(all.records?.length ?? all.length, 2500);
});
await step("query events", async () => {
  let count = 0;
  await new Promise((resolve, reject) => {
    conn.query("SELECT Id FROM Contact").on("record", () => count++).on("end", resolve).on("error", reject)
      .run({ autoFetch: true, maxFetch: 10_000 });
  });
  assert.equal(count, 2500);
});
await step("find, sort, limit, skip, count", async () => {
  const accounts = conn.sobject("Account");
  const found = await accounts.find({ Name: { $like: "Many %" } }, ["Id", "Name"]).sort({ Name: 1 }).limit(5).skip(2);
  assert.equal(found.length, 5);
  assert.equal(await accounts.count({ Name: "One" }), 1);
});
await step("findOne", async () => assert.equal((await conn.sobject("Account").findOne({ Name: "One" })).Id, id));
await step("select, include", async () => {
  await conn.sobject("Contact").create({ LastName: "Child", AccountId: id });
  const found = await conn.sobject("Account").select("Id, Name").include("Contacts").select("Id, LastName").end()
    .where({ Id: id }).execute();
  assert.equal(found[0].Contacts.records[0].LastName, "Child");
});
await step("aggregate", async () => {
  const found = await conn.query("SELECT COUNT(Id) n, Industry FROM Account WHERE Name = 'One' GROUP BY Industry");
  assert.equal(found.records[0].n, 1);
});
await step("query destroy", async () => {
  const done = await conn.sobject("Account").find({ Name: { $like: "Many 1%" } }).destroy();
  assert.ok(done.length > 100 && done.every((each) => each.success));
});
await step("query update", async () => {
  const done = await conn.sobject("Account").find({ Name: "Two" }).update({ Fax: "9" });
  assert.equal(done[0].success, true);
});
await step("search", async () => {
  const found = await conn.search("FIND {One} IN NAME FIELDS RETURNING Account(Id, Name)");
  assert.ok(found.searchRecords.length > 0);
});
await step("updated, deleted", async () => {
  const start = new Date(Date.now() - 3_600_000), end = new Date(Date.now() + 120_000);
  assert.ok((await conn.sobject("Account").updated(start, end)).ids.length > 0);
  assert.ok((await conn.sobject("Account").deleted(start, end)).deletedRecords.length > 0);
});
await step("composite", async () => {
  const done = await conn.requestPost("/services/data/v60.0/composite", {
    compositeRequest: [
      { method: "POST", url: "/services/data/v60.0/sobjects/Account", referenceId: "made", body: { Name: "Composite" } },
      { method: "GET", url: "/services/data/v60.0/sobjects/Account/@{made.id}", referenceId: "read" },
    ],
  });
  assert.equal(done.compositeResponse[1].body.Name, "Composite");
});
await step("platform event", async () => {
  const one = await conn.sobject("Order_Event__e").create({ Order_Number__c: "js" });
  assert.equal(one.success, true);
  const many = await conn.sobject("Order_Event__e").create([{ City__c: "Ulm" }, { City__c: "Bonn" }]);
  assert.deepEqual(many.map((each) => each.success), [true, true]);
});

await step("soap create, update, upsert", async () => {
  const [made] = await conn.soap.create([{ type: "Account", Name: "By SOAP" }]);
  assert.equal(made.success, true);
  const [changed] = await conn.soap.update([{ type: "Account", Id: made.id, Phone: "9" }]);
  assert.deepEqual([changed.success, changed.id], [true, made.id]);
  const [upserted] = await conn.soap.upsert("Salmon_Id__c", [{ type: "Account", Salmon_Id__c: "soap", Name: "Upserted" }]);
  assert.deepEqual([upserted.success, upserted.created], [true, true]);
});
await step("soap merge", async () => {
  const [winner, loser] = await conn.soap.create([{ type: "Account", Name: "Winner" }, { type: "Account", Name: "Loser" }]);
  const masterRecord = { type: "Account", Id: winner.id, Phone: "merged" };
  const done = await conn.soap.merge({ masterRecord, recordToMergeIds: [loser.id] });
  assert.deepEqual([done.success, done.id, done.mergedRecordIds], [true, winner.id, [loser.id]]);
  const found = await conn.query(`SELECT MasterRecordId FROM Account WHERE Id = '${loser.id}'`, { scanAll: true });
  assert.equal(found.records[0].MasterRecordId, winner.id);
});
await step("soap delete, undelete, emptyRecycleBin", async () => {
  const [made] = await conn.soap.create([{ type: "Account", Name: "Deleted" }]);
  assert.equal((await conn.soap.delete([made.id]))[0].success, true);
  assert.equal((await conn.soap.undelete([made.id]))[0].success, true);
  assert.equal((await conn.sobject("Account").retrieve(made.id)).Name, "Deleted");
  assert.equal((await conn.soap.delete([made.id]))[0].success, true);
  assert.equal((await conn.soap.emptyRecycleBin([made.id]))[0].success, true);
  assert.equal((await conn.soap.undelete([made.id]))[0].errors[0].statusCode, "UNDELETE_FAILED");
});
await step("soap getServerTimestamp, getUserInfo", async () => {
  assert.ok((await conn.soap.getServerTimestamp()).timestamp);
  assert.equal((await conn.soap.getUserInfo()).userId, org.user_id);
});
await step("event schema", async () => {
  const schema = await conn.request("/sobjects/Order_Event__e/eventSchema?payloadFormat=COMPACT");
  assert.equal(schema.name, "Order_Event__e");
  assert.deepEqual(await conn.request(`/event/eventSchema/${schema.uuid}?payloadFormat=COMPACT`), schema);
});
await step("composite batch, tree, graph, collections", async () => {
  const base = "/services/data/v60.0";
  const batch = await conn.requestPost(`${base}/composite/batch`, {
    batchRequests: [{ method: "GET", url: "v60.0/limits" }, { method: "GET", url: "v60.0/sobjects/Account/describe" }],
  });
  assert.equal(batch.hasErrors, false);
  const tree = await conn.requestPost(`${base}/composite/tree/Account`, {
    records: [{ attributes: { type: "Account", referenceId: "one" }, Name: "Tree" }],
  });
  assert.equal(tree.hasErrors, false);
  const graph = await conn.requestPost(`${base}/composite/graph`, { graphs: [{ graphId: "g", compositeRequest: [
    { method: "POST", url: `${base}/sobjects/Account`, referenceId: "made", body: { Name: "Graph" } }] }] });
  assert.equal(graph.graphs[0].isSuccessful, true);
  const many = await conn.requestPost(`${base}/composite/sobjects`, {
    allOrNone: true, records: [{ attributes: { type: "Account" }, Name: "Collection" }] });
  assert.equal(many[0].success, true);
});

const poll = { pollInterval: 50, pollTimeout: 20_000 };
await step("bulk2 insert", async () => {
  const done = await conn.bulk2.loadAndWaitForResults({
    object: "Account", operation: "insert", input: [{ Name: "Bulk 1" }, { Name: "Bulk 2" }], ...poll });
  assert.deepEqual([done.successfulResults.length, done.failedResults.length], [2, 0]);
});
await step("bulk2 upsert, update, delete", async () => {
  const upserted = await conn.bulk2.loadAndWaitForResults({
    object: "Account", operation: "upsert", externalIdFieldName: "Salmon_Id__c",
    input: [{ Salmon_Id__c: "b1", Name: "Bulk 3" }], ...poll });
  const Id = upserted.successfulResults[0].sf__Id;
  const updated = await conn.bulk2.loadAndWaitForResults({
    object: "Account", operation: "update", input: [{ Id, Phone: "7" }], ...poll });
  assert.equal(updated.successfulResults.length, 1);
  const deleted = await conn.bulk2.loadAndWaitForResults({ object: "Account", operation: "delete", input: [{ Id }], ...poll });
  assert.equal(deleted.successfulResults.length, 1);
});
await step("bulk2 query", async () => {
  const stream = await conn.bulk2.query("SELECT Id, Name FROM Account WHERE Name LIKE 'Bulk%'", poll);
  assert.equal((await stream.toArray()).length, 2);
});
await step("bulk2 job by hand", async () => {
  const job = conn.bulk2.createJob({ operation: "insert", object: "Account" });
  await job.open();
  await job.uploadData([{ Name: "By hand" }]);
  await job.close();
  await job.poll(50, 20_000);
  assert.equal((await job.getAllResults()).successfulResults.length, 1);
  await job.delete();
});

await step("tooling query", async () => {
  const found = await conn.tooling.query("SELECT Id, DeveloperName FROM CustomField LIMIT 5");
  assert.ok(found.totalSize > 0);
});
await step("tooling create, retrieve, destroy", async () => {
  const Metadata = { type: "Text", label: "By js", length: 20 };
  const made = await conn.tooling.sobject("CustomField").create({ FullName: "Account.By_js__c", Metadata });
  assert.equal(made.success, true);
  assert.equal((await conn.tooling.sobject("CustomField").retrieve(made.id)).FullName, "Account.By_js__c");
  assert.equal((await conn.tooling.sobject("CustomField").destroy(made.id)).success, true);
});
await step("destroy", async () => assert.equal((await conn.sobject("Account").destroy(id)).success, true));
await step("destroy many", async () => {
  const done = await conn.sobject("Account").destroy(ids);
  assert.deepEqual(done.map((each) => each.success), [true, true]);
});
await step("logout", async () => {
  await conn.logout();
  const again = new jsforce.Connection({ ...told, accessToken: org.access_token });
  await assert.rejects(again.query("SELECT Id FROM Account"), (error) => error.errorCode === "INVALID_SESSION_ID");
});
process.exit(0);
