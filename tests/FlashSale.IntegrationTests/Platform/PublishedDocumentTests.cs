using FlashSale.IntegrationTests.Stock;
using FlashSale.Platform;
using StackExchange.Redis;

namespace FlashSale.IntegrationTests.Platform;

/// <summary>publish.lua lets versions only rise, for any caller and however late.</summary>
public sealed class PublishedDocumentTests(ScriptFixture fixture) : IClassFixture<ScriptFixture>
{
    private readonly RedisKey _key = $"documents-{Guid.NewGuid():N}";

    [Fact]
    public async Task A_publisher_that_comes_late_neither_replaces_a_later_version_nor_brings_back_what_was_taken_out()
    {
        Assert.Equal(0, await PublishAsync(5, "five"));
        Assert.Equal(0, await PublishAsync(5, "five"));
        Assert.Equal(5, await PublishAsync(4, "four"));
        Assert.Equal(0, await PublishAsync(6, ""));
        Assert.Equal(6, await PublishAsync(5, "five"));
        Assert.Null(await PublishedDocuments.ReadAsync(fixture.Redis, _key, "a"));
        Assert.Empty(await PublishedDocuments.VersionsAsync(fixture.Redis, _key));
        Assert.Equal(6, await PublishedDocuments.RemovedAsync(fixture.Redis, _key, "a"));
    }

    [Fact]
    public async Task A_later_version_brings_back_what_was_taken_out()
    {
        await PublishAsync(6, "");
        Assert.Equal(0, await PublishAsync(7, "seven"));
        Assert.Equal("seven"u8.ToArray(), await PublishedDocuments.ReadAsync(fixture.Redis, _key, "a"));
        Assert.Equal(7, (await PublishedDocuments.VersionsAsync(fixture.Redis, _key))["a"]);
        Assert.Null(await PublishedDocuments.RemovedAsync(fixture.Redis, _key, "a"));
        Assert.Equal(7, await PublishAsync(6, "six"));
    }

    private Task<long> PublishAsync(long version, string text) =>
        PublishedDocuments.PublishAsync(fixture.Redis, _key, "a", version, System.Text.Encoding.UTF8.GetBytes(text));
}
