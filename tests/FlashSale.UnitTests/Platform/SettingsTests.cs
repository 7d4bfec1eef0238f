using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;
using Microsoft.Extensions.Configuration;

namespace FlashSale.UnitTests.Platform;

public sealed class SettingsTests
{
    [Fact]
    public void A_value_out_of_range_is_told_with_name_value_and_range() =>
        Assert.Equal("Redis:DeadlineMilliseconds = '1': allowed is 50 to 60000.", Refusal<RedisOptions>(("Redis:Endpoint", "h:1"), ("Redis:DeadlineMilliseconds", "1")));

    [Fact]
    public void A_missing_value_is_told_with_its_name() =>
        Assert.Equal("Redis:Endpoint = (not set): a value is required.", Refusal<RedisOptions>());

    [Fact]
    public void A_value_of_the_wrong_kind_is_told_with_name_and_value()
    {
        var message = Refusal<RedisOptions>(("Redis:Endpoint", "h:1"), ("Redis:DeadlineMilliseconds", "soon"));
        Assert.Contains("Redis:DeadlineMilliseconds", message, StringComparison.Ordinal);
        Assert.Contains("soon", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_secret_is_never_shown()
    {
        var message = Refusal<Guarded>(("Redis:Password", "hunter2"));
        Assert.Contains("Redis:Password = (hidden)", message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Elements_of_a_list_are_checked_too() =>
        Assert.Equal("Redis:Elements:1:Size = '0': allowed is 1 to 9.", Refusal<Nested>(("Redis:Elements:0:Size", "1"), ("Redis:Elements:1:Size", "0")));

    [Fact]
    public void A_name_that_is_misspelt_is_refused_and_its_value_not_shown() =>
        Assert.Equal("Redis:Pasword = (hidden): there is no such setting.", Refusal<RedisOptions>(("Redis:Endpoint", "h:1"), ("Redis:Pasword", "hunter2")));

    [Fact]
    public void A_name_that_is_misspelt_in_an_element_of_a_list_is_refused() =>
        Assert.Equal("Redis:Elements:0:Sise = (hidden): there is no such setting.", Refusal<Nested>(("Redis:Elements:0:Sise", "1")));

    private static string Refusal<T>(params (string Key, string Value)[] settings) where T : class, new()
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection(settings.Select(s => KeyValuePair.Create<string, string?>(s.Key, s.Value))).Build();
        return Assert.Throws<InvalidSettingException>(() => Settings.Read<T>(configuration, "Redis")).Message;
    }

    private sealed class Guarded
    {
        [Secret, StringLength(3)]
        public string Password { get; set; } = "";
    }

    private sealed class Nested
    {
        public IList<Element> Elements { get; set; } = [];
    }

    private sealed class Element
    {
        [Range(1, 9)]
        public int Size { get; set; }
    }
}
