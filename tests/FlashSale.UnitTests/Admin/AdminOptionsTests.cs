using FlashSale.Admin.Access;
using FlashSale.Platform;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;

namespace FlashSale.UnitTests.Admin;

public sealed class AdminOptionsTests
{
    private const string Hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    [Theory]
    [InlineData("", "viewer", Hash, "Admin:Tokens:0:Name = (not set)")]
    [InlineData("a b", "viewer", Hash, "Admin:Tokens:0:Name = 'a b'")]
    [InlineData("ann", "admin", Hash, "Admin:Tokens:0:Role = 'admin': allowed is viewer, manager or operator.")]
    [InlineData("ann", "viewer", "secret", "Admin:Tokens:0:Sha256 = (hidden)")]
    public void A_token_that_is_none_is_told_by_its_setting(string name, string role, string hash, string message)
    {
        var builder = Builder(("Admin:Tokens:0:Name", name), ("Admin:Tokens:0:Role", role), ("Admin:Tokens:0:Sha256", hash));
        var thrown = Assert.Throws<InvalidSettingException>(builder.AddAccess);
        Assert.StartsWith(message, thrown.Message);
        Assert.DoesNotContain("secret", thrown.Message);
    }

    [Fact]
    public void Without_a_token_the_host_does_not_start() =>
        Assert.StartsWith("Admin:Tokens = (not set)", Assert.Throws<InvalidSettingException>(Builder().AddAccess).Message);

    [Fact]
    public void Tokens_of_every_role_are_taken() =>
        Builder(("Admin:Tokens:0:Name", "ann@shop"), ("Admin:Tokens:0:Role", "operator"), ("Admin:Tokens:0:Sha256", Hash.ToUpperInvariant())).AddAccess();

    private static WebApplicationBuilder Builder(params (string Name, string Value)[] settings)
    {
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.Configuration.AddInMemoryCollection(settings.Select(setting => KeyValuePair.Create(setting.Name, (string?)setting.Value)));
        return builder;
    }
}
