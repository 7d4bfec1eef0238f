using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>Pages of the audit log stay small, and each entry can be read whole.</summary>
[Collection<OnOneOfEach>]
public sealed class AuditTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    [Fact]
    public async Task A_page_shows_extracts_of_large_documents_and_the_entry_itself_has_all_of_it()
    {
        var items = Enumerable.Range(0, 1_000).Select(i => new ItemDraft($"sku-{i:0000}", 1, Name: new string('x', 150))).ToArray();
        var id = await Stack.Manager.CreateSaleAsync(items);
        var page = Manager.Expect(200, await Stack.Manager.GetAsync("/api/v1/audit?limit=1"));
        Assert.InRange(page.Body.Length, 1, 10_000);
        var entry = page.Json.GetProperty("entries")[0];
        Assert.Equal((true, "draft", 1_000), (entry.GetProperty("shortened").GetBoolean(), entry.GetProperty("after").GetProperty("status").GetString(), entry.GetProperty("after").GetProperty("itemCount").GetInt32()));
        Assert.Matches(@"^\(\d+ bytes\)$", entry.GetProperty("after").GetProperty("items").GetString());

        var whole = Manager.Expect(200, await Stack.Manager.GetAsync($"/api/v1/audit/{entry.GetProperty("id")}")).Json;
        Assert.Equal((id, false, 1_000), (whole.GetProperty("subject").GetString(), whole.GetProperty("shortened").GetBoolean(), whole.GetProperty("after").GetProperty("items").GetArrayLength()));
        foreach (var unknown in (string[])["0", "-1", "x", "999999999999", "99999999999999999999"])
            Refusal.AssertIs(404, "audit_entry_not_found", await Stack.Manager.GetAsync($"/api/v1/audit/{unknown}"));
    }

    [Fact]
    public async Task A_small_document_is_shown_as_it_is()
    {
        var id = await Stack.Manager.CreateSaleAsync([new("a", 1)]);
        var entry = (await Stack.Manager.GetAsync("/api/v1/audit?limit=1")).Json.GetProperty("entries")[0];
        Assert.Equal((id, false, "a"), (entry.GetProperty("subject").GetString(), entry.GetProperty("shortened").GetBoolean(), entry.GetProperty("after").GetProperty("items")[0].GetProperty("sku").GetString()));
    }
}
