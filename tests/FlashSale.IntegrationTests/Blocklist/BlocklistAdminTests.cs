using Dapper;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Blocklist;

/// <summary>Operators change the blocklist, and the audit log keeps their changes.</summary>
public sealed class BlocklistAdminTests(TwoNodes fixture, ITestOutputHelper output) : BlocklistTest(fixture, output), IClassFixture<TwoNodes>
{
    [Fact]
    public async Task An_entry_is_created_changed_shown_and_removed_and_each_change_is_audited()
    {
        var added = await BlockAsync("cidr", "2001:DB8:7::/48", reason: "first");
        Assert.Equal((201, "2001:db8:7::/48", "first", ""), (added.Status, added.Member("value"), added.Member("reason"), added.Member("until")));
        Assert.Equal(added.Text, (await Stack.Manager.GetAsync(added.Header("location")!)).Json.GetProperty("entries")[0].ToString());
        var until = In(TimeSpan.FromHours(1));
        var changed = await BlockAsync("cidr", "2001:db8:7:0::/48", until, "second");
        Assert.Equal((200, "second", until, added.Member("createdAt")), (changed.Status, changed.Member("reason"), changed.Member("until"), changed.Member("createdAt")));
        Assert.Equal(204, (await Stack.Manager.SendAsync(HttpMethod.Delete, $"{Path}/cidr/2001:db8:7::/48")).Status);
        // A repeated removal gets the same answer, with the slash escaped or not. An unknown entry is not found.
        Assert.Equal(204, (await UnblockAsync("cidr", "2001:db8:7::/48")).Status);
        Refusal.AssertIs(404, "blocklist_entry_not_found", await UnblockAsync("cidr", "2001:db8:8::/48"));
        Assert.Empty((await Stack.Manager.GetAsync($"{Path}?kind=cidr&value=2001:db8:7::/48")).Json.GetProperty("entries").EnumerateArray());
        Assert.Equal(201, (await BlockAsync("cidr", "2001:db8:7::/48")).Status);

        var audit = (await Stack.Manager.GetAsync("/api/v1/audit?limit=500")).Json.GetProperty("entries").EnumerateArray()
            .Where(entry => entry.GetProperty("subject").GetString() == "cidr/2001:db8:7::/48").Reverse()
            .Select(entry => (entry.GetProperty("action").GetString(), entry.GetProperty("actor").GetString(), Reason(entry.GetProperty("before")), Reason(entry.GetProperty("after"))));
        Assert.Equal(
        [
            ("blocklist.add", "test-operator", null, "first"), ("blocklist.change", "test-operator", "first", "second"),
            ("blocklist.remove", "test-operator", "second", null), ("blocklist.add", "test-operator", null, "A test blocks"),
        ], audit);

        static string? Reason(System.Text.Json.JsonElement picture) => picture.ValueKind is System.Text.Json.JsonValueKind.Null ? null : picture.GetProperty("reason").GetString();
    }

    [Fact]
    public async Task The_list_is_paged_newest_first_by_kind_or_all_of_it()
    {
        for (var i = 0; i < 5; i++) Assert.Equal(201, (await BlockAsync("client", $"paged-{i}")).Status);
        Assert.Equal(201, (await BlockAsync("user", "paged-user")).Status);
        Assert.Equal(200, (await BlockAsync("client", "paged-1", reason: "changed last")).Status);
        var (seen, cursor) = (new List<string>(), "");
        do
        {
            var page = (await Stack.Manager.GetAsync($"{Path}?kind=client&limit=2{cursor}")).Json;
            seen.AddRange(page.GetProperty("entries").EnumerateArray().Select(entry => entry.GetProperty("value").GetString()!));
            cursor = page.GetProperty("nextCursor").GetString() is { } next ? $"&cursor={next}" : "";
        }
        while (cursor.Length > 0);
        Assert.Equal(["paged-1", "paged-4", "paged-3", "paged-2", "paged-0"], seen.Take(5));
        var all = (await Stack.Manager.GetAsync($"{Path}?limit=2")).Json.GetProperty("entries").EnumerateArray().Select(entry => entry.GetProperty("value").GetString());
        Assert.Equal(["paged-1", "paged-user"], all);
    }

    [Theory]
    [InlineData("""{"kind":"users","value":"u","reason":"r"}""", "kind")]
    [InlineData("""{"kind":"user","value":"u u","reason":"r"}""", "value")]
    [InlineData("""{"kind":"ip","value":"1.2.3","reason":"r"}""", "value")]
    [InlineData("""{"kind":"cidr","value":"0.0.0.0/0","reason":"r"}""", "value")]
    [InlineData("""{"kind":"cidr","value":"10.0.0.1/8","reason":"r"}""", "value")]
    [InlineData("""{"kind":"user","value":7,"reason":"r"}""", "value")]
    [InlineData("""{"kind":"user","value":"u","reason":" "}""", "reason")]
    [InlineData("""{"kind":"user","value":"u"}""", "reason")]
    [InlineData("""{"kind":"user","value":"u","reason":"r","until":"2020-01-01T00:00:00Z"}""", "until")]
    [InlineData("""{"kind":"user","value":"u","reason":"r","until":5}""", "until")]
    [InlineData("""{"kind":"user","value":"u","reason":"r","more":5}""", "more")]
    public async Task What_is_no_entry_is_refused_by_its_member(string body, string field)
    {
        using var content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");
        var refused = Refusal.AssertIs(400, "invalid_request", await Stack.Manager.SendAsync(HttpMethod.Post, Path, content));
        Assert.Equal(field, Assert.Single(refused.Json.GetProperty("errors").EnumerateArray()).GetProperty("field").GetString());
    }

    [Theory]
    [InlineData("?kind=users")]
    [InlineData("?value=u")]
    [InlineData("?kind=ip&value=1.2")]
    [InlineData("?limit=0")]
    [InlineData("?cursor=x")]
    public async Task What_is_no_question_is_refused(string query) => Refusal.AssertIs(400, "invalid_request", await Stack.Manager.GetAsync(Path + query));

    [Fact]
    public async Task Viewers_and_managers_look_and_operators_change()
    {
        foreach (var token in (string[])[Manager.ViewerToken, Manager.ManagerToken])
        {
            using var other = new Manager(() => Stack.Admin.Url, token);
            Assert.Equal(200, (await other.GetAsync(Path)).Status);
            Refusal.AssertIs(403, "forbidden", await other.PostAsync(Path, new { kind = "user", value = "u", reason = "r" }));
            Refusal.AssertIs(403, "forbidden", await other.SendAsync(HttpMethod.Delete, $"{Path}/user/u"));
            using var content = new ByteArrayContent([]) { Headers = { ContentType = new("text/csv") } };
            Refusal.AssertIs(403, "forbidden", await other.SendAsync(HttpMethod.Post, $"{Path}:import", content));
        }
    }

    [Fact]
    public async Task A_file_is_imported_as_a_whole_and_told_in_one_audit_row()
    {
        Assert.Equal(201, (await BlockAsync("user", "imported-0", reason: "known before")).Status);
        var answer = await ImportAsync($"user,imported-0,from a file,\nuser,imported-1,from a file,{In(TimeSpan.FromHours(1))}\nip,::ffff:192.0.2.77,from a file,\ncidr,192.0.2.0/24,from a file,\nclient,app,from a file,\n");
        Assert.Equal("5", Manager.Expect(200, answer).Member("imported"));
        await EveryNodeAsync(blocks: true, "imported-1");
        await AssertNowAsync(blocked: true, "imported-0");
        Assert.Equal("from a file", (await Stack.Manager.GetAsync($"{Path}?kind=user&value=imported-0")).Json.GetProperty("entries")[0].GetProperty("reason").GetString());
        Assert.Single((await Stack.Manager.GetAsync($"{Path}?kind=ip&value=192.0.2.77")).Json.GetProperty("entries").EnumerateArray());
        var row = (await Stack.Manager.GetAsync("/api/v1/audit?limit=1")).Json.GetProperty("entries")[0];
        Assert.Equal(("blocklist.import", 5, 4, 1), (row.GetProperty("action").GetString(), Count("imported"), Count("added"), Count("changed")));

        int Count(string name) => row.GetProperty("after").GetProperty(name).GetInt32();
    }

    [Fact]
    public async Task A_file_with_a_wrong_line_is_refused_as_a_whole_with_every_such_line()
    {
        var refused = Refusal.AssertIs(400, "invalid_request", await ImportAsync("user,nobody,r,\nuser,n n,r,\nip,1.2.3.4,r,\ncidr,10.0.0.0/4,r,\nip,::ffff:1.2.3.4,r,\nuser,x,r,yesterday\nuser,nobody,r,\n"));
        Assert.Equal([3, 5, 6, 7, 8], refused.Json.GetProperty("errors").EnumerateArray().Select(error => error.GetProperty("line").GetInt32()));
        Assert.Empty((await Stack.Manager.GetAsync($"{Path}?kind=user&value=nobody")).Json.GetProperty("entries").EnumerateArray());
        Assert.Equal([2], Refusal.AssertIs(400, "invalid_request", await ImportAsync("")).Json.GetProperty("errors").EnumerateArray().Select(error => error.GetProperty("line").GetInt32()));
        Refusal.AssertIs(415, "unsupported_media_type", await ImportAsync("user,a,r,\n", "application/json"));
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        Assert.False(await connection.ExecuteScalarAsync<bool>("select exists (select 1 from blocked_subject where value = '1.2.3.4')"));
    }
}
